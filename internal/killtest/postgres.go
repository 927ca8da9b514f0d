package main

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
)

// database is a PostgreSQL of our own: in a directory of the run, on a port of its own, on this machine only.
type database struct {
	address string
	process *process
	bin     string
}

// postgresBin is where PostgreSQL's programs are, the newest of those that Debian installs, or in the PATH; "" means nowhere.
func postgresBin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) { // 9.6 is older than 15
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

func noPostgres() string {
	if postgresBin() == "" {
		return "PostgreSQL is not installed (Debian: postgresql)"
	}
	if os.Geteuid() == 0 {
		if _, err := user.Lookup("postgres"); err != nil {
			return "PostgreSQL does not run as root, and there is no user postgres"
		}
	}
	return ""
}

// newDatabase makes a cluster in dir and starts it.
func newDatabase(ctx context.Context, dir string) (*database, error) {
	d := &database{bin: postgresBin()}
	var err error
	if d.address, err = freeAddress(); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Chmod(dir, 0o711)); err != nil {
		return nil, err
	}
	attr, err := asPostgres(data)
	if err != nil {
		return nil, err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(d.bin, "initdb"), "-D", data, "-U", "nubecula", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, data
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	host, port, err := net.SplitHostPort(d.address)
	if err != nil {
		return nil, err
	}
	d.process, err = newProcess(dir, "postgres", filepath.Join(d.bin, "postgres"), "-D", data, "-h", host, "-p", port,
		"-c", "unix_socket_directories=", "-c", "max_connections=300")
	if err != nil {
		return nil, err
	}
	d.process.attr, d.process.dir = attr, data
	return d, d.start(ctx)
}

// asPostgres gives the directory to the user that the server runs as: this one, or postgres where this one is root.
func asPostgres(data string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(data, uid, gid)
}

func (d *database) start(ctx context.Context) error {
	if err := d.process.start(); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(d.address)
	for end := time.Now().Add(time.Minute); ; {
		if exec.CommandContext(ctx, filepath.Join(d.bin, "pg_isready"), "-q", "-h", host, "-p", port).Run() == nil {
			return nil
		}
		if err := errors.Join(sleep(ctx, 50*time.Millisecond), d.process.signal(probe)); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("PostgreSQL does not answer within a minute: see %s", d.process.log.Name())
		}
	}
}

// restart ends the server, with a word to its clients or without, and starts it again.
func (d *database) restart(ctx context.Context, how syscall.Signal) error {
	if err := d.process.down(how, time.Minute); err != nil {
		return err
	}
	return d.start(ctx)
}

// dsn is how to reach the server at an address, a proxy's for instance.
func dsn(address string) string {
	return "postgres://nubecula@" + address + "/postgres?sslmode=disable"
}
