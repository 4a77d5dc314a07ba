// compose-check loads a Compose file as `docker compose` does, with interpolation and validation, without Docker.
//
//	compose-check FILE [PROFILE…]
//
// Several profiles, separated by "+", are loaded together. It prints the services of each and ends with 1 at an error.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: compose-check FILE [PROFILE[+PROFILE…]…]")
		os.Exit(2)
	}
	profiles := os.Args[2:]
	if len(profiles) == 0 {
		profiles = []string{""}
	}
	for _, profile := range profiles {
		names, err := services(os.Args[1], strings.Split(profile, "+"))
		if err != nil {
			fmt.Fprintf(os.Stderr, "compose-check: %s, profile %q: %v\n", os.Args[1], profile, err)
			os.Exit(1)
		}
		fmt.Printf("profile %s: %s\n", profile, strings.Join(names, " "))
	}
}

func services(file string, profiles []string) ([]string, error) {
	options, err := cli.NewProjectOptions(
		[]string{file},
		cli.WithOsEnv,
		cli.WithDotEnv,
		cli.WithProfiles(profiles),
		cli.WithInterpolation(true),
		cli.WithConsistency(true),
	)
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	names := project.ServiceNames()
	slices.Sort(names)
	return names, nil
}
