package simbackend

import "context"

// Control asks a Server about itself and tells it to fail.
type Control struct{ link *link }

// NewControl connects to the Server that listens on a Unix socket.
func NewControl(address string) *Control { return &Control{connect(address)} }

// SetFaults replaces all rules; none means that nothing fails any more.
func (c *Control) SetFaults(ctx context.Context, rules ...Rule) error {
	return c.link.call(ctx, "/control/faults", rules, nil)
}

// Report returns what the Server has seen since it began.
func (c *Control) Report(ctx context.Context) (out Report, err error) {
	err = c.link.call(ctx, "/control/report", none{}, &out)
	return out, err
}

// Close ends the connection.
func (c *Control) Close() error {
	c.link.close()
	return nil
}
