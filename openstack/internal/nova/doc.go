// Package nova is the OpenStack Compute API v2.1 as a view of the services
// compute and network: routes, the shapes of bodies and queries, and what is
// shown of a resource. Rules that are not about HTTP are in the services.
//
// Microversions are data. What is shown of a resource is a table of fields,
// a body or a query is a table of properties, a call or a server action is a
// row of a table; each row says in which versions it exists. So a new
// microversion is a few rows, and old versions cannot break by it.
//
// What Nova has and this cloud has not answers as Nova does: 501
// notImplemented for an action that the hypervisor cannot do, 404 for what a
// microversion has removed, an empty list where nothing of the kind exists.
package nova
