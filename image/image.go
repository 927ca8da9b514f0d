// Package image keeps disk images: their records, who may see them, and the
// upload and deletion of their data, which an imagedriver.Store holds.
//
//	queued --upload--> saving --complete--> active <--deactivate, reactivate--> deactivated
//	                   saving --broken-----> queued
//
// A deleted image is gone at once; an operation deletes its data. Data is
// kept under an id of its own for each upload, Image.DataID, so that what is
// left of a broken upload can never be taken for the next one.
package image

import (
	"time"

	"github.com/nubecula/cloud/store"
)

// Status is where an image is in its life.
type Status string

const (
	Queued      Status = "queued"      // without data
	Saving      Status = "saving"      // an upload is under way
	Active      Status = "active"      // complete
	Deactivated Status = "deactivated" // complete, but only administrators may read it
)

// Visibility says who may see an image besides its owner.
type Visibility string

const (
	Private   Visibility = "private"   // nobody
	Shared    Visibility = "shared"    // the projects that are its members
	Community Visibility = "community" // everybody, but it is in nobody else's list unless asked for
	Public    Visibility = "public"    // everybody
)

// Image is the record of an image. Nobody writes to one that a Service returned.
type Image struct {
	ID              string     `json:"id"`
	Name            string     `json:"name,omitempty"`
	Owner           string     `json:"owner,omitempty"` // a project's id; "" belongs to nobody
	Status          Status     `json:"status"`
	Visibility      Visibility `json:"visibility"`
	Protected       bool       `json:"protected,omitempty"`        // cannot be deleted
	Hidden          bool       `json:"hidden,omitempty"`           // only in lists that ask for hidden images
	DiskFormat      string     `json:"disk_format,omitempty"`      // as its owner says; "" is not set yet
	ContainerFormat string     `json:"container_format,omitempty"` // likewise
	MinDiskGiB      int64      `json:"min_disk_gib,omitempty"`     // a server's disk must be at least so large
	MinRAMMiB       int64      `json:"min_ram_mib,omitempty"`      // likewise its memory

	Tags       []string          `json:"tags,omitempty"`       // sorted
	Properties map[string]string `json:"properties,omitempty"` // whatever its owner wants to keep

	// The rest is known once the image is Active.
	DataID       string `json:"data_id,omitempty"` // under which the driver has the data; set while Saving too
	SizeBytes    int64  `json:"size_bytes,omitempty"`
	VirtualBytes int64  `json:"virtual_bytes,omitempty"` // of the disk that a guest sees; 0 means unknown
	MD5          string `json:"md5,omitempty"`           // hex
	SHA512       string `json:"sha512,omitempty"`        // hex
	// Format is what the data's own header says: "qcow2", ...; "raw" for anything not recognised. It, not
	// DiskFormat, is what a hypervisor must be told.
	Format string `json:"format,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// HasData reports whether the image is complete.
func (i *Image) HasData() bool { return i.Status == Active || i.Status == Deactivated }

// Member is a project that a Shared image is shared with.
type Member struct {
	ImageID   string       `json:"image_id"`
	ProjectID string       `json:"project_id"`
	Status    MemberStatus `json:"status"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

// MemberStatus is what a member makes of an image offered to it. It may use the image in any case.
type MemberStatus string

const (
	Pending  MemberStatus = "pending"
	Accepted MemberStatus = "accepted" // the image is in the member's list
	Rejected MemberStatus = "rejected"
)

var images = store.Define(store.Spec[Image]{
	Kind: "image", Version: 1,
	ID: func(i *Image) string { return i.ID },
	Indexes: []store.Index[Image]{
		{Name: "created_at", Keys: func(i *Image) []store.Tuple { return []store.Tuple{{i.CreatedAt}} }},
	},
})

var members = store.Define(store.Spec[Member]{
	Kind: "image_member", Version: 1,
	ID: func(m *Member) string { return memberID(m.ImageID, m.ProjectID) },
	Indexes: []store.Index[Member]{
		{Name: "image", Keys: func(m *Member) []store.Tuple { return []store.Tuple{{m.ImageID, m.CreatedAt}} }},
		{Name: "project", Keys: func(m *Member) []store.Tuple { return []store.Tuple{{m.ProjectID}} }},
	},
})

func memberID(imageID, projectID string) string { return imageID + "/" + projectID }
