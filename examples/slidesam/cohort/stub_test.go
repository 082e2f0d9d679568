package cohort

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slidesam/sam/internal/cli"
)

// TestMain is also the programs that the templates call, by the name it is
// called by: slidesam, and stand-ins for the schedulers' commands that do jobs at
// once, with the variables that the schedulers' manuals name.
func TestMain(m *testing.M) {
	var err error
	args := os.Args[1:]
	switch name := filepath.Base(os.Args[0]); name {
	case "slidesam":
		os.Exit(cli.Main(context.Background(), os.Args, "v1", []cli.Command{Command()}, cli.Streams()))
	case "sbatch":
		err = sbatch(args)
	case "qsub":
		err = qsub(args)
	case "aws":
		err = aws(args)
	case "kubectl":
		err = kubectl(args)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		os.Exit(1)
	}
}

// job is what a scheduler does.
type stubJob struct {
	argv []string
	// env gives the variables of a task of an array; nil: no array
	env         func(task int) []string
	first, last int
}

// run does the job. Of an array every fifth task from the second on is killed
// and done again, and every fifth from the fourth on runs twice at once.
func (j stubJob) run() error {
	if j.env == nil {
		return command(j.argv, nil).Run()
	}
	var tasks sync.WaitGroup
	errs := make([]error, j.last-j.first+1)
	for i := range errs {
		tasks.Add(1)
		go func() {
			defer tasks.Done()
			begin := func() *exec.Cmd { return command(j.argv, j.env(j.first+i)) }
			switch i % 5 {
			case 1:
				c := begin()
				if errs[i] = c.Start(); errs[i] != nil {
					return
				}
				time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond)
				_ = c.Process.Kill() // or it was done
				_ = c.Wait()
			case 3:
				twin := begin()
				if errs[i] = twin.Start(); errs[i] != nil {
					return
				}
				defer func() { errs[i] = errors.Join(errs[i], twin.Wait()) }()
			}
			errs[i] = begin().Run()
		}()
	}
	tasks.Wait()
	return errors.Join(errs...)
}

func command(argv, env []string) *exec.Cmd {
	c := exec.Command(argv[0], argv[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c
}

// option takes an option and its value, which may be joined by =, from args.
func option(args *[]string, name string) (string, bool) {
	for i, a := range *args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			*args = slices.Delete(*args, i, i+1)
			return v, true
		}
		if a == name && i+1 < len(*args) {
			v := (*args)[i+1]
			*args = slices.Delete(*args, i, i+2)
			return v, true
		}
	}
	return "", false
}

func toggle(args *[]string, name string) bool {
	i := slices.Index(*args, name)
	if i >= 0 {
		*args = slices.Delete(*args, i, i+1)
	}
	return i >= 0
}

// submit gives the job an id, and checks that those it waits for are done.
func submit(j stubJob, after string) (string, error) {
	state := os.Getenv("STUB_STATE")
	if after != "" {
		if _, err := os.Stat(filepath.Join(state, after)); err != nil {
			return "", fmt.Errorf("job %q is waited for: %w", after, err)
		}
	}
	if err := j.run(); err != nil {
		return "", err
	}
	done, err := os.ReadDir(state)
	if err != nil {
		return "", err
	}
	id := strconv.Itoa(101 + len(done))
	return id, os.WriteFile(filepath.Join(state, id), nil, 0o600)
}

// sbatch is Slurm's.
func sbatch(args []string) error {
	if !toggle(&args, "--parsable") {
		return errors.New("--parsable is missing")
	}
	toggle(&args, "--requeue")
	option(&args, "--job-name")
	after, _ := option(&args, "--dependency")
	_, after, _ = strings.Cut(after, ":")
	array, isArray := option(&args, "--array")
	wrap, wrapped := option(&args, "--wrap")
	j := stubJob{argv: args}
	if wrapped {
		j.argv = []string{"sh", "-c", wrap}
	}
	if isArray {
		if _, err := fmt.Sscanf(array, "%d-%d", &j.first, &j.last); err != nil {
			return err
		}
		j.env = func(task int) []string {
			return []string{
				fmt.Sprint("SLURM_ARRAY_TASK_ID=", task), fmt.Sprint("SLURM_ARRAY_TASK_MIN=", j.first), fmt.Sprint("SLURM_ARRAY_TASK_MAX=", j.last),
				fmt.Sprint("SLURM_ARRAY_TASK_COUNT=", j.last-j.first+1), "SLURM_ARRAY_TASK_STEP=1",
			}
		}
	}
	id, err := submit(j, after)
	fmt.Println(id + ";cluster")
	return err
}

// qsub is Grid Engine's, where jobs that are no arrays have a task, too.
func qsub(args []string) error {
	for _, must := range []string{"-terse", "-V", "-cwd"} {
		if !toggle(&args, must) {
			return fmt.Errorf("%s is missing", must)
		}
	}
	option(&args, "-N")
	option(&args, "-r")
	option(&args, "-b")
	after, _ := option(&args, "-hold_jid")
	array, isArray := option(&args, "-t")
	j := stubJob{argv: args}
	if err := os.Setenv("SGE_TASK_ID", "undefined"); err != nil {
		return err
	}
	if isArray {
		if _, err := fmt.Sscanf(array, "%d-%d", &j.first, &j.last); err != nil {
			return err
		}
		j.env = func(task int) []string {
			return []string{fmt.Sprint("SGE_TASK_ID=", task), fmt.Sprint("SGE_TASK_FIRST=", j.first), fmt.Sprint("SGE_TASK_LAST=", j.last), "SGE_TASK_STEPSIZE=1"}
		}
	}
	id, err := submit(j, after)
	if isArray {
		id += "." + array + ":1"
	}
	fmt.Println(id)
	return err
}

// inside brings paths of a container to the folder that is mounted there.
func inside(argv []string) []string {
	out := slices.Clone(argv)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "/data/", os.Getenv("STUB_DATA")+"/")
	}
	return out
}

// aws is that of AWS Batch.
func aws(args []string) error {
	definition := filepath.Join(os.Getenv("STUB_DATA"), "definition.json")
	if slices.Contains(args, "register-job-definition") {
		from, _ := option(&args, "--cli-input-json")
		b, err := os.ReadFile(strings.TrimPrefix(from, "file://"))
		if err != nil {
			return err
		}
		return os.WriteFile(definition, b, 0o600)
	}
	b, err := os.ReadFile(definition)
	if err != nil {
		return err
	}
	var d struct {
		JobDefinitionName   string
		Parameters          map[string]string
		ContainerProperties struct{ Command []string }
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	if name, _ := option(&args, "--job-definition"); name != d.JobDefinitionName {
		return fmt.Errorf("no definition %q", name)
	}
	given, _ := option(&args, "--parameters")
	if err := json.Unmarshal([]byte(given), &d.Parameters); err != nil {
		return fmt.Errorf("%s: %w", given, err)
	}
	j := stubJob{argv: inside(d.ContainerProperties.Command)}
	for i, a := range j.argv {
		if name, ok := strings.CutPrefix(a, "Ref::"); ok {
			j.argv[i] = inside([]string{d.Parameters[name]})[0]
		}
	}
	if array, ok := option(&args, "--array-properties"); ok {
		n, err := strconv.Atoi(strings.TrimPrefix(array, "size="))
		if err != nil {
			return err
		}
		j.last = n - 1
		j.env = func(task int) []string {
			return []string{fmt.Sprint("AWS_BATCH_JOB_ARRAY_INDEX=", task), fmt.Sprint("AWS_BATCH_JOB_ARRAY_SIZE=", n)}
		}
	}
	after, _ := option(&args, "--depends-on")
	id, err := submit(j, strings.TrimPrefix(after, "jobId="))
	fmt.Println(id)
	return err
}

// kubectl does a Job when it is applied.
func kubectl(args []string) error {
	if args[0] == "wait" {
		if _, err := os.Stat(filepath.Join(os.Getenv("STUB_STATE"), filepath.Base(args[len(args)-1]))); err != nil {
			return err
		}
		return nil
	}
	file, _ := option(&args, "-f")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var d struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			CompletionMode string `yaml:"completionMode"`
			Completions    int
			Template       struct {
				Spec struct {
					Containers []struct {
						Command []string
						Env     []struct{ Name, Value string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(b, &d); err != nil {
		return err
	}
	c := d.Spec.Template.Spec.Containers[0]
	for _, e := range c.Env {
		if e.Name == "FLAGS" {
			e.Value = os.Getenv("STUB_FLAGS")
		}
		if err := os.Setenv(e.Name, e.Value); err != nil {
			return err
		}
	}
	j := stubJob{argv: inside(c.Command), last: d.Spec.Completions - 1}
	if d.Spec.CompletionMode == "Indexed" {
		j.env = func(task int) []string { return []string{fmt.Sprint("JOB_COMPLETION_INDEX=", task)} }
	}
	if err := j.run(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(os.Getenv("STUB_STATE"), d.Metadata.Name), nil, 0o600)
}
