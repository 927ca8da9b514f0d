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
	"sync"
	"syscall"
	"time"
)

// build compiles a program of this module into dir, without cgo.
func build(ctx context.Context, dir, program string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(program)+".bin")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/nubecula/cloud/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", program, err, out)
	}
	return binary, nil
}

// process is a program that dies and comes back.
type process struct {
	name    string
	args    []string // the program's path first
	env     []string // added to this process's
	log     *os.File
	revive  bool              // started again when it ends with status 1, as a supervisor would
	noticed func(what string) // of what a supervisor sees; may be nil
	attr    *syscall.SysProcAttr
	dir     string // to run in; "" means this process's
	mu      sync.Mutex
	current *os.Process   // nil while it is down
	ended   chan struct{} // closed when current has ended
	status  string        // of the last one that ended
	wanted  bool          // it should be up
}

// newProcess prepares a program; its output goes to NAME.log in dir.
func newProcess(dir, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &process{name: name, args: args, log: log}, err
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

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
	return p.launch()
}

// launch runs the program; the caller holds the lock.
func (p *process) launch() error {
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr, cmd.Dir = p.attr, p.dir
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.current, p.ended = cmd.Process, ended
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.status = fmt.Sprint(err)
		again := p.wanted && p.revive && cmd.ProcessState.ExitCode() == 1
		if p.wanted && p.noticed != nil {
			p.noticed(fmt.Sprintf("%s ended by itself: %v", p.name, err))
		}
		p.current = nil
		p.mu.Unlock()
		close(ended)
		if again {
			time.Sleep(100 * time.Millisecond)
			p.mu.Lock()
			if p.wanted && p.current == nil {
				p.launch() // an error shows as a process that is down
			}
			p.mu.Unlock()
		}
	}()
	return nil
}

// signal sends a signal; an error when the process has ended by itself and nobody starts it again.
func (p *process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		if p.revive {
			return nil
		}
		return p.died("by itself")
	}
	return p.current.Signal(s)
}

// down takes the process from its supervisor and sends a signal, and waits for its end.
func (p *process) down(s os.Signal, limit time.Duration) error {
	p.mu.Lock()
	p.wanted = false
	current, ended := p.current, p.ended
	p.mu.Unlock()
	if current == nil {
		if p.revive {
			return nil
		}
		return p.died("by itself")
	}
	if err := current.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s has not ended %s after %s: see %s", p.name, limit, s, p.log.Name())
	}
}

// kill ends the process as a power switch would.
func (p *process) kill() error { return p.down(os.Kill, time.Minute) }

// stop ends the process in the way a person does.
func (p *process) stop() error {
	if err := p.down(syscall.SIGTERM, 30*time.Second); err != nil {
		return err
	}
	if p.status != "<nil>" && !p.revive {
		return p.died("badly")
	}
	return nil
}

// end leaves nothing behind that runs.
func (p *process) end() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	up := p.current != nil
	p.revive = true
	p.mu.Unlock()
	var err error
	if up {
		err = p.down(os.Kill, time.Minute)
	}
	return errors.Join(err, p.log.Close())
}
