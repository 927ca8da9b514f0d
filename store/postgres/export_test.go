package postgres

import (
	"context"
	"net"
)

// WithDial returns options whose connections are made by dial.
func WithDial(opt Options, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Options {
	opt.dial = dial
	return &opt
}

// Reuse returns the options of a Driver.
func Reuse(d *Driver) *Options { return &d.opt }

// DSN returns what a Driver was opened with.
func DSN(d *Driver) string { return d.dsn }

// CheckAnswers is what Open makes of a server's answers.
func (d *Driver) CheckAnswers(version string, number int, readOnly string) error {
	return d.checkAnswers(version, number, readOnly)
}

// TakeTurn takes the turn and keeps it, as a replica does that is frozen in the middle of a commit.
func (d *Driver) TakeTurn(ctx context.Context) error {
	conn, err := d.takeTurn(ctx)
	d.handed = conn
	return err
}

// ApplicationName is what the server calls the Driver's connections.
func ApplicationName(d *Driver) string { return "nubecula " + d.replica }
