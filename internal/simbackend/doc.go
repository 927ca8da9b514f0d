// Package simbackend is what hypervisors, network and image store are to a
// control plane: something in another process, which goes on when the control
// plane is killed. A Server holds the fakes (fakecompute, fakenetwork,
// fakeimage) behind a Unix socket; NewHypervisor, NewProvider and NewStore
// return drivers that speak to it and pass the suites of their interfaces.
//
// A call that the Server has read happens, whatever becomes of the caller: if
// it is killed, or its time is over, while the Server is still asleep under a
// rule of SetFaults, the effect comes late, as with a real host.
//
// The Server keeps a ledger of effects by placement - Cloud, server id,
// generation - which trusts neither the fakes nor the control plane: a second
// running copy of a server, a Define, Start or Bind behind its tombstone, and
// an effect that happened twice are violations in its Report.
//
// Everything lives in memory: the Server's process must outlive the test.
package simbackend
