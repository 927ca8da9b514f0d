package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// secrets are the passwords of the two users. The file passwords.json in the
// data directory keeps them, so that openrc and clouds.yaml can be written anew.
type secrets struct {
	Admin string `json:"admin"`
	Demo  string `json:"demo"`
}

// loadSecrets reads the passwords of an earlier start, or makes them.
func loadSecrets(dir string) (secrets, error) {
	var s secrets
	path := filepath.Join(dir, "passwords.json")
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &s); err != nil || s.Admin == "" || s.Demo == "" {
			return s, fmt.Errorf("%s is damaged: restore it, write {\"admin\": PASSWORD, \"demo\": PASSWORD} into it, or have it made anew with new passwords (lab reset-admin)", path)
		}
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return s, err
	}
	if err := keepSecrets(dir, secrets{Admin: rand.Text(), Demo: rand.Text()}, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return s, err
	}
	return loadSecrets(dir) // another lab may have been first
}

func keepSecrets(dir string, s secrets, place func(from, to string) error) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "passwords.json"), string(text)+"\n", true, place)
}

// complete refuses a data directory that has a database but lacks what is made before it, and what nobody can make again.
func complete(dir string, but ...string) error {
	if _, err := os.Lstat(filepath.Join(dir, "nubecula.db")); err != nil {
		return nil
	}
	for name, without := range map[string]string{
		"key":            "no secret in the database can be read without it",
		"passwords.json": "openrc and clouds.yaml are written from it; it is {\"admin\": PASSWORD, \"demo\": PASSWORD}; `lab reset-admin` makes it anew, with new passwords",
	} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !slices.Contains(but, name) {
			return fmt.Errorf("%s is missing: restore it from a backup; %s", path, without)
		}
	}
	return nil
}

// writeCredentials puts openrc (admin) and clouds.yaml (lab: demo, lab-admin: admin) in place.
func writeCredentials(dir, url string, s secrets) error {
	openrc := fmt.Sprintf(`export OS_AUTH_URL=%s/v3
export OS_USERNAME=admin
export OS_PASSWORD=%s
export OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
export OS_REGION_NAME=RegionOne
export OS_IDENTITY_API_VERSION=3
`, url, s.Admin)
	clouds := "clouds:\n"
	for _, c := range []struct{ name, user, password string }{{"lab", "demo", s.Demo}, {"lab-admin", "admin", s.Admin}} {
		clouds += fmt.Sprintf(`  %s:
    auth:
      auth_url: %s/v3
      username: %s
      password: %s
      project_name: %s
      user_domain_name: Default
      project_domain_name: Default
    region_name: RegionOne
    identity_api_version: 3
`, c.name, url, c.user, c.password, c.user)
	}
	return errors.Join(writeFile(filepath.Join(dir, "openrc"), openrc, false, os.Rename), writeFile(filepath.Join(dir, "clouds.yaml"), clouds, false, os.Rename))
}

// writeFile makes a file as a whole, with mode 0600; place puts it there: os.Rename replaces a file, os.Link refuses to. One that each start
// writes anew need not be durable.
func writeFile(path, text string, durable bool, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if durable {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = place(f.Name(), path)
	}
	os.Remove(f.Name()) // gone after a Rename
	return err
}
