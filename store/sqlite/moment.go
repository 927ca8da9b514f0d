package sqlite

import "github.com/nubecula/cloud/fault"

// moment is the database as it is between two commits. A reading transaction begins with the newest one and asks SQLite for
// nothing as long as the cache knows all that it reads, which is most of them: to begin and to end a transaction of SQLite's costs
// as much as several queries. When it needs SQLite, it begins a transaction of its own if its moment is still the newest.
// Before the commit that ends a moment, the writer begins one for all who have not.
type moment struct {
	at     int64 // the number of the newest commit
	users  int   // transactions and, while it is the newest, the Driver; under Driver.mu
	shared *conn // in a transaction that sees the moment; nil until a commit is on the way. Under Driver.ending
}

// enter returns the newest moment. Leave it when done.
func (d *Driver) enter() (*moment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed()
	}
	d.newest.users++
	return d.newest, nil
}

func (d *Driver) leave(m *moment) {
	d.mu.Lock()
	m.users--
	last := m.users == 0
	d.mu.Unlock()
	if last && m.shared != nil { // nobody can enter it again
		m.shared.mu.Lock()
		defer m.shared.mu.Unlock()
		d.giveBack(m.shared)
	}
}

// giveBack ends a reader's transaction; its mutex is held.
func (d *Driver) giveBack(c *conn) {
	if c.db != 0 {
		_ = c.exec("ROLLBACK") // a reader has nothing to lose
	}
	d.release(c)
}

// look gives a reading transaction a connection that sees its moment.
func (d *Driver) look(m *moment) (c *conn, own bool, err error) {
	d.ending.RLock()
	defer d.ending.RUnlock()
	if m.shared != nil {
		return m.shared, false, nil
	}
	c, err = d.see(m)
	return c, true, err
}

// share sees to it that the newest moment can still be seen when a commit has come after it.
func (d *Driver) share() error {
	d.ending.Lock()
	defer d.ending.Unlock()
	c, err := d.see(d.newest) // only the writer, who is here, changes it
	if err == nil {
		d.newest.shared = c
	}
	return err
}

// see begins a transaction that sees the newest moment.
func (d *Driver) see(m *moment) (*conn, error) {
	c, err := d.reader()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.exec("BEGIN"); err == nil {
		var at int64
		if at, err = c.integer("SELECT max(n) FROM commits"); err == nil && at == m.at {
			return c, nil
		}
		if err == nil {
			err = fault.New(fault.Internal, "%s: commit %d is the newest, not %d: another program has written the file", d.path, at, m.at)
		}
		_ = c.exec("ROLLBACK")
	}
	d.release(c)
	return nil, d.explain(err)
}

// next begins the moment after commit n.
func (d *Driver) next(n int64) {
	d.mu.Lock()
	old := d.newest
	d.newest = &moment{at: n, users: 1}
	d.mu.Unlock()
	d.leave(old)
}
