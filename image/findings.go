package image

import "github.com/nubecula/cloud/internal/finding"

// What Check finds in the store. None of it can come from what users or operators do: each is a lost write or a bug.
var (
	imageContradicts = finding.Rule{Name: "image-contradicts",
		Means: "the image says that it has data and does not name it, or the other way round: servers made from it fail",
		Do:    "delete the image and upload it again; tell it with the log of the time"}
	imageStuck = finding.Rule{Name: "image-stuck",
		Means: "the image waits for an upload that nobody is at work on, or is being worked on and does not say so",
		Do:    "delete the image and upload it again; tell it with the log of the time"}
	memberLeft = finding.Rule{Name: "image-member-left",
		Means: "a project was given an image that is not there; it takes a little space and nobody sees it",
		Do:    "nothing is urgent; tell it with the log of the time"}
)
