// Package rest is the HTTP frame that all OpenStack APIs of a cloud share:
// one port, routes below a path for each service, discovery documents,
// microversions, tokens, limits, error bodies in each service's own form,
// request ids, the access record, and idempotency keys.
//
// An API is a table of Routes. A Handler returns a Response or an error and
// has no other effect than on the store, through its ctx: with an
// Idempotency-Key it runs inside store.Update, possibly more than once.
//
// Where services answer, BASE being scheme and host:
//
//	BASE/v3, BASE/identity/v3   Keystone (the catalog shows BASE/identity)
//	BASE/compute/v2.1           Nova
//	BASE/image/v2               Glance   (BASE/image)
//	BASE/network/v2.0           Neutron  (BASE/network)
package rest
