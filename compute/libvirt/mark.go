package libvirt

import (
	"encoding/xml"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
)

// markNamespace is where our part of a domain's <metadata> lives. The number is raised when its
// meaning changes; a driver reads no other one.
const markNamespace = "https://github.com/nubecula/cloud/guest/1"

// domainName is libvirt's name for the guest of a server.
func domainName(id string) string { return "nubecula-" + id }

// markXML is the Mark as metadata element. It is written by hand: encoding/xml has no namespace prefixes, which libvirt insists on.
func markXML(m computedriver.Mark, epoch int64, name string) (string, error) {
	attrs := struct {
		XMLName    xml.Name `xml:"nubecula:guest"`
		NS         string   `xml:"xmlns:nubecula,attr"`
		Cloud      string   `xml:"cloud,attr"`
		ID         string   `xml:"id,attr"`
		Generation int64    `xml:"generation,attr"`
		Epoch      int64    `xml:"epoch,attr,omitempty"`
		Name       string   `xml:"name,attr"`
	}{NS: markNamespace, Cloud: m.Cloud, ID: m.ID, Generation: m.Generation, Epoch: epoch, Name: name}
	b, err := xml.Marshal(attrs)
	return string(b), err
}

// parseMark reads what markXML wrote. A text that is not a whole mark is nobody's: the zero Mark.
func parseMark(text string) (m computedriver.Mark, epoch int64, name string) {
	var e struct {
		XMLName    xml.Name
		Cloud      string `xml:"cloud,attr"`
		ID         string `xml:"id,attr"`
		Generation int64  `xml:"generation,attr"`
		Epoch      int64  `xml:"epoch,attr"`
		Name       string `xml:"name,attr"`
	}
	if err := xml.NewDecoder(strings.NewReader(text)).Decode(&e); err != nil {
		return computedriver.Mark{}, 0, ""
	}
	m = computedriver.Mark{Cloud: e.Cloud, ID: e.ID, Generation: e.Generation}
	if e.XMLName.Local != "guest" || m.Cloud == "" || m.ID == "" || m.Generation <= 0 {
		return computedriver.Mark{}, 0, ""
	}
	return m, e.Epoch, e.Name
}
