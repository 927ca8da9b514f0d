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
// answers again).
package compute
