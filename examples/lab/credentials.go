package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
			return s, fmt.Errorf("%s is damaged: restore it, or write {\"admin\": PASSWORD, \"demo\": PASSWORD} into it", path)
		}
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return s, err
	}
	s = secrets{Admin: rand.Text(), Demo: rand.Text()}
	text, err = json.Marshal(s)
	if err != nil {
		return s, err
	}
	return s, writeFile(path, string(text)+"\n")
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
	return errors.Join(writeFile(filepath.Join(dir, "openrc"), openrc), writeFile(filepath.Join(dir, "clouds.yaml"), clouds))
}

// writeFile replaces a file as a whole, durably, with mode 0600.
func writeFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
