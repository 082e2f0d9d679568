package serve

// routes adds all routes to the server.
func (s *Server) routes() {
	s.samapiRoutes()
}
