package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
)

// resetAdmin is the way back in for who has locked himself out: the user admin was deleted or disabled, or nobody knows his
// password. No password is printed.
func resetAdmin(ctx context.Context, args []string, out io.Writer) error {
	dir, _, err := parseOnly("reset-admin", "", args, 0, 0)
	if err != nil {
		return err
	}
	if err := ended(ctx, dir); err != nil {
		return err
	}
	if err := isLab(dir, "passwords.json"); err != nil {
		return err
	}
	// Without the file, or with a damaged one, nobody knows demo's password either.
	s, lost := secrets{Demo: rand.Text()}, true
	if _, err := os.Stat(filepath.Join(dir, "passwords.json")); err == nil {
		if old, err := loadSecrets(dir); err == nil {
			s, lost = old, false
		}
	}
	s.Admin = rand.Text()
	if err := atRest(ctx, dir, func(c *cloud.Cloud) error {
		sys := c.As(identity.System()).Identity
		if err := sys.Bootstrap(ctx, identity.BootstrapOptions{AdminPassword: s.Admin, Reset: true}); err != nil || !lost {
			return err
		}
		return setDemo(ctx, sys, s.Demo)
	}); err != nil {
		return err
	}
	if err := errors.Join(keepSecrets(dir, s, os.Rename), writeCredentials(dir, lastURL(dir), s)); err != nil {
		return fmt.Errorf("the user admin has a new password, which could not be written: %w; mend that, and run this again", err)
	}
	fmt.Fprintf(out, `The user admin is enabled, has the role admin on the project admin and on the system, and a new password; his tokens are void.
The password is in %s, %s and %s; it is not printed. Start the lab.
`, filepath.Join(dir, "openrc"), filepath.Join(dir, "clouds.yaml"), filepath.Join(dir, "passwords.json"))
	if lost {
		fmt.Fprintln(out, "passwords.json was missing or damaged, so the user demo, if there is one, has a new password too.")
	}
	return nil
}

// setDemo gives the user demo a password, if he is there.
func setDemo(ctx context.Context, sys *identity.Service, password string) error {
	found, err := sys.ListUsers(ctx, identity.ListUsers{ListOptions: identity.ListOptions{Name: "demo"}, DomainID: identity.DefaultDomainID})
	if err != nil || len(found) == 0 {
		return err
	}
	_, err = sys.UpdateUser(ctx, found[0].ID, identity.UpdateUser{Password: &password})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// lastURL is where the lab was reached the last time; its next start writes where it is then.
func lastURL(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "openrc")) // it may be gone
	if m := regexp.MustCompile(`(?m)^export OS_AUTH_URL=(\S+)/v3$`).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return "http://127.0.0.1:8774"
}
