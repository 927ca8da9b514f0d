package identity

import (
	"strings"
)

// dashless writes a UUID as OpenStack's identity does.
func dashless(uuid string) string { return strings.ReplaceAll(uuid, "-", "") }
