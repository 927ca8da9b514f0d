package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/nubecula/cloud/openstack"
)

// lab is examples/lab at work, as a process of its own or, to be profiled, in this one.
type lab struct {
	url      string
	pid      int
	dir      string
	password string // of the user demo
	admin    string // the password of the user admin
	stop     func() error
	kill     func() error // as kill -9 does
}

func buildLab(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "lab.bin")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/nubecula/cloud/examples/lab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build examples/lab: %w\n%s", err, out)
	}
	return binary, nil
}

// startLab runs the lab on a directory and returns once it has answered.
func startLab(ctx context.Context, binary, dir string, hosts int) (*lab, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "-listen", address, "-data", dir, "-hosts", fmt.Sprint(hosts))
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	l := &lab{url: "http://" + address, pid: cmd.Process.Pid, dir: dir}
	l.stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := <-ended; err != nil {
			return fmt.Errorf("the lab ended badly: %w\n%s", err, &output)
		}
		return nil
	}
	l.kill = func() error {
		err := cmd.Process.Kill()
		<-ended
		return err
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if l.answers(ctx) {
			break
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the lab did not start: %w\n%s", err, &output)
		default:
		}
		if time.Since(began) > time.Minute || ctx.Err() != nil {
			cmd.Process.Kill()
			return nil, fmt.Errorf("the lab did not answer within a minute: %w\n%s", errors.Join(<-ended, ctx.Err()), &output)
		}
	}
	clouds, err := os.ReadFile(filepath.Join(dir, "clouds.yaml"))
	if err == nil {
		var err2 error
		l.password, err = password(clouds, "lab")
		l.admin, err2 = password(clouds, "lab-admin")
		err = errors.Join(err, err2)
	}
	if err != nil {
		return nil, errors.Join(err, l.stop())
	}
	return l, nil
}

// answers asks for the identity API's version, which every client does first.
func (l *lab) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/v3", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// password finds the one of a cloud in clouds.yaml.
func password(clouds []byte, name string) (string, error) {
	m := regexp.MustCompile(`(?s)\n  ` + name + `:\n.*?\n      password: ([^\n]+)\n`).FindSubmatch(clouds)
	if m == nil {
		return "", errors.New("clouds.yaml has no password of the cloud " + name)
	}
	return string(m[1]), nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// serveLab does in this process what the lab does in its own.
func serveLab(ctx context.Context, dir string) (*lab, error) {
	c, err := compose(ctx, where{lab: dir})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	server := openstack.Server(openstack.Handler(c.Cloud, nil))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return &lab{url: "http://" + listener.Addr().String(), pid: os.Getpid(), dir: dir, password: demoPassword, admin: adminPassword, stop: func() error {
		err := server.Close()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return errors.Join(err, c.Close())
	}}, nil
}
