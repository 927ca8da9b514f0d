// Package localpostgres runs a PostgreSQL of one's own: in a directory, on a
// port of this machine alone, without a password, for as long as a test or an
// example needs it. It looks for the programs where Debian puts them, then in the PATH.
package localpostgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/nubecula/cloud/internal/clock"
)

// patience bounds how long the server may take to start or to end.
const patience = time.Minute

// Server is a PostgreSQL server; its superuser is nubecula.
type Server struct {
	bin, data, port string
	attr            *syscall.SysProcAttr
	log             *os.File
	cmd             *exec.Cmd
	ended           chan struct{}
}

// Missing says what this machine lacks to run one; "" means nothing.
func Missing() string {
	if programs() == "" {
		return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
	}
	if os.Geteuid() == 0 {
		if _, err := user.Lookup("postgres"); err != nil {
			return "PostgreSQL does not run as root, and there is no user postgres"
		}
	}
	return ""
}

// programs is the directory of the newest version; "" means none.
func programs() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) { // 9 is older than 15
			return len(a) - len(b)
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

// New makes a cluster in dir/postgres, its log in dir/postgres.log, and starts the server. Run by root it belongs to
// the user postgres, who is let through dir.
func New(ctx context.Context, dir string) (*Server, error) {
	if why := Missing(); why != "" {
		return nil, errors.New(why)
	}
	s := &Server{bin: programs(), data: filepath.Join(dir, "postgres")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	if err := errors.Join(l.Close(), os.Mkdir(s.data, 0o700), os.Chmod(dir, 0o711), s.own()); err != nil {
		return nil, err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "-D", s.data, "-U", "nubecula", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = s.attr, s.data
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if s.log, err = os.Create(filepath.Join(dir, "postgres.log")); err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// own gives the directory to the user that the server runs as.
func (s *Server) own() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	s.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return errors.Join(err1, err2, os.Chown(s.data, uid, gid))
}

// Address is the server's host and port.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", s.port) }

// DSN is how to reach the server at an address: its own, or that of something between.
func DSN(address string) string {
	return "postgres://nubecula@" + address + "/postgres?sslmode=disable"
}

// Start runs the server, after Stop, and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data, "-h", "127.0.0.1", "-p", s.port,
		"-c", "unix_socket_directories=", "-c", "max_connections=300")
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.attr, s.data, s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
	c := clock.System()
	for end := c.Mono() + patience; ; {
		if exec.CommandContext(ctx, filepath.Join(s.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", s.port).Run() == nil {
			return nil
		}
		if err := c.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		select {
		case <-ended:
			return fmt.Errorf("PostgreSQL ended: see %s", s.log.Name())
		default:
		}
		if c.Mono() > end {
			return fmt.Errorf("PostgreSQL does not answer within %s: see %s", patience, s.log.Name())
		}
	}
}

// Stop ends the server: SIGINT with a word to its clients, SIGQUIT as a crash would.
func (s *Server) Stop(how syscall.Signal) error {
	if err := s.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("PostgreSQL has not ended %s after %s: see %s", patience, how, s.log.Name())
	}
}

// Close ends the server for good; its directory is the caller's to remove.
func (s *Server) Close() error { return errors.Join(s.Stop(syscall.SIGQUIT), s.log.Close()) }
