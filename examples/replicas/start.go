package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nubecula/cloud/internal/localpostgres"
	"github.com/nubecula/cloud/internal/simbackend"
)

// about is what the second command has to know of the first, in a file that only this user can read.
type about struct {
	Dir      string   `json:"dir"`
	Password string   `json:"password"`
	URLs     []string `json:"urls"`
	PIDs     []int    `json:"pids"`
}

func aboutFile() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("nubecula-replicas-%d.json", os.Getuid()))
}

// start runs everything until ctx ends.
func start(ctx context.Context, port int) (err error) {
	dir, err := os.MkdirTemp("", "nubecula-replicas-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.Remove(aboutFile())) }()
	fmt.Println("starting PostgreSQL and three simulated hosts ...")
	db, err := localpostgres.New(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	backend, err := simbackend.NewServer(nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "backend"))
	if err != nil {
		return err
	}
	defer l.Close()
	go backend.Serve(l)

	me, err := os.Executable()
	if err != nil {
		return err
	}
	s := &supervisor{program: me, dsn: localpostgres.DSN(db.Address()), about: about{Dir: dir, Password: rand.Text(), PIDs: make([]int, 3)}}
	defer s.wait.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range s.about.PIDs {
		s.about.URLs = append(s.about.URLs, fmt.Sprintf("http://127.0.0.1:%d", port+i))
		if err := s.launch(i); err != nil {
			return err
		}
		if err := answers(ctx, s.about.URLs[i]); err != nil { // the first one makes users, flavors and networks
			return err
		}
		fmt.Printf("replica %d answers at %s, process %d\n", i+1, s.about.URLs[i], s.about.PIDs[i])
		s.wait.Go(func() { s.watch(ctx, i) })
	}
	if err := s.write(); err != nil {
		return err
	}
	clouds, err := s.clouds()
	if err != nil {
		return err
	}
	fmt.Printf(`
One cloud, three ways in. Type next, in another shell:
  go run ./examples/replicas kill
or, with OpenStack's client, and see the same through each of them:
  export OS_CLIENT_CONFIG_FILE=%s
  openstack --os-cloud replica-1 server create --flavor m1.nano --image tiny --network private --wait vm1
  openstack --os-cloud replica-3 server list
Ctrl-C ends everything.
`, clouds)
	<-ctx.Done()
	return nil
}

// supervisor runs the replicas.
type supervisor struct {
	program, dsn string
	wait         sync.WaitGroup

	mu    sync.Mutex
	about about
	cmds  [3]*exec.Cmd
}

func (s *supervisor) launch(i int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := exec.Command(s.program, "-replica", s.about.URLs[i][len("http://"):], "-dir", s.about.Dir, "-dsn", s.dsn)
	cmd.Env = append(os.Environ(), "REPLICAS_PASSWORD="+s.about.Password)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmds[i], s.about.PIDs[i] = cmd, cmd.Process.Pid
	return nil
}

// watch starts a replica again when it has died, late enough to see the others take its work over.
func (s *supervisor) watch(ctx context.Context, i int) {
	for {
		stop := context.AfterFunc(ctx, func() { s.cmds[i].Process.Signal(syscall.SIGTERM) })
		err := s.cmds[i].Wait()
		stop()
		if ctx.Err() != nil {
			return
		}
		fmt.Printf("replica %d died (%v); it comes back in 20 s\n", i+1, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Second):
		}
		if err := errors.Join(s.launch(i), s.write()); err != nil {
			fmt.Fprintln(os.Stderr, "replicas:", err)
			return
		}
		fmt.Printf("replica %d is back, process %d\n", i+1, s.about.PIDs[i])
	}
}

// write tells the second command.
func (s *supervisor) write() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := json.Marshal(s.about)
	if err != nil {
		return err
	}
	if err := os.Remove(aboutFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(aboutFile(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// clouds writes a clouds.yaml with a cloud for each replica.
func (s *supervisor) clouds() (string, error) {
	text := "clouds:\n"
	for i, url := range s.about.URLs {
		text += fmt.Sprintf("  replica-%d:\n    auth: {auth_url: %s/v3, username: demo, password: %s, project_name: demo, user_domain_name: Default, project_domain_name: Default}\n    region_name: RegionOne\n    identity_api_version: 3\n", i+1, url, s.about.Password)
	}
	path := filepath.Join(s.about.Dir, "clouds.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// answers waits until somebody serves the URL.
func answers(ctx context.Context, url string) error {
	for end := time.Now().Add(time.Minute); ; {
		res, err := http.Get(url + "/v3")
		if err == nil {
			return res.Body.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("a replica does not answer within a minute: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
