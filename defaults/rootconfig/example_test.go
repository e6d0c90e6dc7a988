package rootconfig_test

import (
	"context"
	"fmt"
	"os"
	"testing/fstest"

	"github.com/flytower/flytower/defaults/rootconfig"
)

func Example() {
	files := fstest.MapFS{"app-config.yaml": {Data: []byte(`
backend:
  baseUrl: https://portal.example.com
  listen: {port: 7007}
  database:
    connection: {host: db, password: "${DB_PASSWORD}"}
`)}}
	root, err := rootconfig.Load(context.Background(), rootconfig.Options{
		FS: files, Args: []string{}, Env: []string{"DB_PASSWORD=hunter2", "APP_CONFIG_backend_listen_port=8080"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := root.Print(os.Stdout); err != nil {
		fmt.Println(err)
	}
	_, err = root.String("backend.cache.store")
	fmt.Println(err)
	// Output:
	// backend:
	//   listen:
	//     port: 8080 # env
	//   baseUrl: https://portal.example.com # app-config.yaml:3
	//   database:
	//     connection:
	//       host: db # app-config.yaml:6
	//       password: "***" # app-config.yaml:6
	// app-config.yaml:2: config key "backend.cache.store" is missing
}
