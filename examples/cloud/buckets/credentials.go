package buckets

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/oauth2/google"
)

// anonymous reports whether a provider's own rules find no credentials.
func anonymous(ctx context.Context, scheme string) bool {
	switch scheme {
	case "s3":
		c, err := config.LoadDefaultConfig(ctx)
		if err != nil || c.Credentials == nil {
			return true
		}
		_, err = c.Credentials.Retrieve(ctx)
		return err != nil
	case "gs":
		if os.Getenv("STORAGE_EMULATOR_HOST") != "" {
			return false
		}
		_, err := google.FindDefaultCredentials(ctx)
		return err != nil
	}
	return false
}
