package sqlite

// Path returns the file of a Driver.
func Path(d *Driver) string { return d.path }

// Reuse returns the options of a Driver.
func Reuse(d *Driver) *Options { return &d.opt }
