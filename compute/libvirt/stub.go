//go:build !(libvirt && linux)

package libvirt

import (
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// Driver is what New returns in a build that has the driver.
type Driver struct{ computedriver.Hypervisor }

// New says how to build a program that has the driver; wrong Options are Invalid all the same.
func New(o Options) (*Driver, error) {
	if _, err := o.withDefaults(); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Unsupported,
		"this program was built without the libvirt driver; build it on Linux with CGO_ENABLED=1 go build -tags libvirt,libvirt_dlopen")
}
