// stream.cpp: streams and graphs. Work waits until somebody synchronises, as
// late as a GPU might do it.
#include <set>

#include "state.h"

namespace standin {

struct Graph {
  std::vector<Job> jobs;
};

static Stream null_stream;
static std::set<Stream*> streams;

static Stream* of(CUstream s) { return s ? (Stream*)s : &null_stream; }

CUresult drain(Stream* s) {
  while (!s->jobs.empty()) {
    Job j = s->jobs.front();
    s->jobs.pop_front();
    if (CUresult e = j()) return current->failed = e;
  }
  return CUDA_SUCCESS;
}

CUresult drain_all() {
  for (auto* s : streams)
    if (s->owner == current)
      if (CUresult e = drain(s)) return e;
  return drain(&null_stream);
}

CUresult enqueue(CUstream h, Job j) {
  Stream* s = of(h);
  if (s->capturing) {
    s->captured.push_back(j);
    return CUDA_SUCCESS;
  }
  s->jobs.push_back(j);
  return setting("STANDIN_EAGER", 0) ? drain(s) : CUDA_SUCCESS;
}

void forget_streams(Context* c) {
  for (auto i = streams.begin(); i != streams.end();) {
    if ((*i)->owner != c) {
      ++i;
      continue;
    }
    delete *i;
    i = streams.erase(i);
  }
}

}  // namespace standin

using namespace standin;

API cuStreamCreate(CUstream* s, unsigned) {
  ENTER;
  Stream* x = new Stream;
  x->owner = current;
  streams.insert(x);
  *s = (CUstream)x;
  return CUDA_SUCCESS;
}

API cuStreamDestroy_v2(CUstream s) {
  ENTER;
  CUresult e = drain(of(s));
  streams.erase(of(s));
  delete of(s);
  return e;
}

API cuStreamSynchronize(CUstream s) {
  ENTER;
  if (of(s)->capturing) return fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "synchronised while captured");
  return drain(of(s));
}

API cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode) {
  ENTER;
  of(s)->capturing = true;
  of(s)->captured.clear();
  return CUDA_SUCCESS;
}

API cuStreamEndCapture(CUstream s, CUgraph* g) {
  ENTER;
  if (!of(s)->capturing) return CUDA_ERROR_ILLEGAL_STATE;
  of(s)->capturing = false;
  *g = (CUgraph) new Graph{of(s)->captured};
  return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(CUgraphExec* x, CUgraph g, unsigned long long) {
  ENTER;
  *x = (CUgraphExec) new Graph(*(Graph*)g);
  return CUDA_SUCCESS;
}

API cuGraphLaunch(CUgraphExec x, CUstream s) {
  ENTER;
  for (auto& j : ((Graph*)x)->jobs)
    if (CUresult e = enqueue(s, j)) return e;
  return CUDA_SUCCESS;
}

API cuGraphDestroy(CUgraph g) {
  delete (Graph*)g;
  return CUDA_SUCCESS;
}

API cuGraphExecDestroy(CUgraphExec g) {
  delete (Graph*)g;
  return CUDA_SUCCESS;
}
