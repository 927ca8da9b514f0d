package rest

// Typed gives an error the status and the type under which Neutron's clients know it.
type Typed struct {
	Err    error
	Status int    // 0 means the one of Err
	Type   string // "SubnetInUse"
}

// Error returns the text of Err.
func (t *Typed) Error() string { return t.Err.Error() }

// Unwrap returns Err.
func (t *Typed) Unwrap() error { return t.Err }
