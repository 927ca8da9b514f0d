// Package compute is the service that runs servers: flavors, key pairs,
// hosts, and the servers themselves. It speaks OpenStack Nova's language.
//
// A server is a record in the store; what runs on a host is a guest. Calls
// that need a host write the record and an operation in one transaction and
// return; the operation does the rest:
//
//	server.create  place -> bind -> define -> start
//	server.delete  undefine -> unbind -> the record goes
//	server.stop, server.start, server.reboot, server.reboot-hard
//
// Documents: flavor, keypair, host, server, server-seed (what a guest is
// told at boot; sealed), host-ledger (what of a host is given out), claim
// (which server holds how much of it), debt (a guest to remove once its host
// answers again), port-generation (how new a port's newest use is).
//
// # States
//
//	nothing   --create--> building
//	building  --create ends--> active
//	building  --create fails--> error
//	active    --stop--> stopped
//	active    --guest went off--> stopped
//	stopped   --guest was started--> active
//	active    --guest is lost--> error
//	stopped   --guest is lost--> error
//	error     --guest is back--> active
//	error     --guest is back--> stopped
//	stopped   --start--> active
//	stopped   --hard reboot--> active
//	error     --hard reboot--> active
//	error     --stop--> stopped
//	building  --delete--> deleted
//	active    --delete--> deleted
//	stopped   --delete--> deleted
//	error     --delete--> deleted
//	active    --reset-state--> error
//	stopped   --reset-state--> error
//	stopped   --reset-state--> active
//	error     --reset-state--> active
//
// What may be asked, besides delete:
//
//	building  BUILD    -
//	active    ACTIVE   stop, reboot, reboot hard, attach_interface
//	stopped   SHUTOFF  start, reboot hard, attach_interface
//	error     ERROR    stop, reboot hard
//	deleted   DELETED  -
package compute
