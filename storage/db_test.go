package storage_test

import (
	"testing"

	"panormus/storage"
	"panormus/storage/storagetest"
)

func TestOpenMigratesOnce(t *testing.T) {
	server := storagetest.NewServer(t)
	for range 2 {
		db, err := storage.Open(t.Context(), storage.Config{Embedded: server})
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
}
