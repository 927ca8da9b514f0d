package store

import "github.com/nubecula/cloud/internal/clock"

// Clock is the clock that every Options of this module takes, by a name that other modules can
// use: to write one of their own, or to run storetest on a driver of their own.
type Clock = clock.Clock
