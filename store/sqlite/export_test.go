package sqlite

import lib "modernc.org/sqlite/lib"

// Path returns the file of a Driver.
func Path(d *Driver) string { return d.path }

// Reuse returns the options of a Driver.
func Reuse(d *Driver) *Options { return &d.opt }

// QueryText returns the first column of the first row of a query.
func QueryText(path, sql string) (string, error) {
	c, err := openConn(path, lib.SQLITE_OPEN_READWRITE)
	if err != nil {
		return "", err
	}
	defer c.close()
	return c.text(sql)
}
