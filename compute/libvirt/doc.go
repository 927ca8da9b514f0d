// Package libvirt drives KVM and QEMU through libvirt. It implements
// computedriver.Hypervisor and its optional Rebooter, Consoler, Rememberer and
// Watcher.
//
// Built with the tags libvirt and libvirt_dlopen (cgo and gcc are needed,
// libvirt's headers are not) it talks to libvirtd through libvirt.so.0;
// without the tag libvirt it builds everywhere, and New says how to get the driver.
//
// # What is where
//
// A guest is a libvirt domain: its UUID is the server's id, its name
// "nubecula-" and that id. The guest's Mark is in the domain's <metadata>,
// in a namespace of our own. Everything else is under Options.StateDir:
//
//	guests/ID/mark.json     the Mark and the guest's name
//	guests/ID/root.qcow2    its disk, an overlay of a base
//	guests/ID/config.iso    its config drive
//	guests/ID/console.log   its serial console, and .0, .1, ... when virtlogd has rotated it
//	base/ID                 copies of images, made once and never changed
//	tombstones/ID           the greatest generation undefined
//	epochs/CLOUD            the newest epoch of a Cloud's store that was seen here
//	locks/                  files locked while a call changes a guest or copies an image
//	trash/                  what is being removed
//
// Define makes the directory with its mark first and the domain last; Undefine
// writes the tombstone first, then removes the domain, then the directory. So a
// call that broke off leaves a directory without a domain, which Guests lists
// as Torn. All processes that drive one host must use the same StateDir.
//
// QEMU runs as another user than libvirtd, so StateDir and the directories
// above it must let everybody through (mode 0711 or 0755). Disks and config drives are
// 0600 and handed to QEMU by libvirt; bases are readable by all. The console
// logs belong to root: so does the process that reads them.
package libvirt
