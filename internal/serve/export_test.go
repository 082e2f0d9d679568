package serve

// Embeddings returns how many pictures were encoded.
func Embeddings(s *Server) int64 { return s.encoded.Load() }

// CheckAddr is checkAddr.
var CheckAddr = checkAddr

// CheckPublic is checkPublic.
var CheckPublic = checkPublic

// Cached returns how many embeddings are kept.
func Cached(s *Server) int {
	s.embeddings.mu.Lock()
	defer s.embeddings.mu.Unlock()
	return len(s.embeddings.have)
}

// OpenAPI is openAPI.
var OpenAPI = openAPI

// Patterns returns the patterns of all routes.
func Patterns(s *Server) []string { return s.patterns }
