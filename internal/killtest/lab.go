package main

import (
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// lab is examples/lab as a process that dies and comes back, always at the same address.
type lab struct {
	binary  string
	address string
	data    string
	log     *os.File
	process *os.Process // nil while it is down
	ended   chan error  // of process
}

// newLab builds the lab; start runs it.
func newLab(ctx context.Context, dir string) (*lab, error) {
	l := &lab{binary: filepath.Join(dir, "lab.bin"), data: filepath.Join(dir, "data")}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", l.binary, "github.com/nubecula/cloud/examples/lab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build examples/lab: %w\n%s", err, out)
	}
	var err error
	if l.address, err = freeAddress(); err != nil {
		return nil, err
	}
	l.log, err = os.OpenFile(filepath.Join(dir, "lab.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return l, err
}

// freeAddress finds a port below those that the kernel gives to outgoing connections: a client that
// knocks while the lab is down could otherwise be given its port, and be connected with itself.
func freeAddress() (string, error) {
	var errs []error
	for range 50 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+mrand.IntN(10000))
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return address, listener.Close()
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no free port between 20000 and 30000: %w", errors.Join(errs...))
}

func (l *lab) start() error {
	cmd := exec.Command(l.binary, "-listen", l.address, "-data", l.data, "-log", "warn")
	cmd.Stdout, cmd.Stderr = l.log, l.log
	if err := cmd.Start(); err != nil {
		return err
	}
	l.process, l.ended = cmd.Process, make(chan error, 1)
	go func(ended chan<- error) { ended <- cmd.Wait() }(l.ended)
	return nil
}

// kill ends the lab as a power switch would; an error when it had ended by itself.
func (l *lab) kill() error {
	select {
	case err := <-l.ended:
		l.process = nil
		return fmt.Errorf("the lab ended by itself (%v): see %s", err, l.log.Name())
	default:
	}
	if err := l.process.Kill(); err != nil {
		return err
	}
	<-l.ended
	l.process = nil
	return nil
}

// stop ends the lab in the way a person does, and waits for it.
func (l *lab) stop() error {
	if err := l.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the lab cannot be stopped: %w; see %s", err, l.log.Name())
	}
	select {
	case err := <-l.ended:
		l.process = nil
		if err != nil {
			return fmt.Errorf("the lab ended badly (%w): see %s", err, l.log.Name())
		}
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the lab has not ended 30 s after SIGTERM: see %s", l.log.Name())
	}
}

// end leaves nothing behind that runs.
func (l *lab) end() error {
	if l.process != nil {
		l.process.Kill()
		<-l.ended
	}
	return l.log.Close()
}
