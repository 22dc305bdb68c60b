// The judge of what GitOps tools make of a resource: kstatus, by which Flux and Helm wait, and Argo CD's health.
//
// It reads a stream of JSON objects on standard input and writes one line of JSON for each. kstatus is the
// library itself (Flux's copy of sigs.k8s.io/cli-utils). A health rule of Argo CD is a Lua script, named by the
// first argument; it runs in the interpreter of Argo CD, with the libraries that Argo CD opens for scripts of
// its ConfigMap (package, base and table, nothing else), for at most one second, and its answer must be one of
// Argo CD's health states. An object that is being deleted is Progressing whatever the script says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// Of gitops-engine's package health; a script may not say Missing.
var healthStates = []string{"Healthy", "Progressing", "Degraded", "Suspended", "Unknown"}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type verdict struct {
	Kstatus string `json:"kstatus"`
	Message string `json:"message"`
	Argo    health `json:"argo"`
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: judge HEALTH.lua <objects.json"))
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	objects := json.NewDecoder(os.Stdin)
	for {
		// Not the decoder of unstructured: whole numbers must become int64, as they do in an informer.
		var raw json.RawMessage
		if err := objects.Decode(&raw); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail(err)
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(raw); err != nil {
			fail(err)
		}
		judged, err := judge(&object, string(script))
		if err != nil {
			fail(err)
		}
		line, err := json.Marshal(judged)
		if err != nil {
			fail(err)
		}
		fmt.Println(string(line))
	}
}

func judge(object *unstructured.Unstructured, script string) (verdict, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return verdict{}, fmt.Errorf("kstatus: %w", err)
	}
	argo, err := healthOf(object, script)
	if err != nil {
		return verdict{}, fmt.Errorf("Argo CD's rule: %w", err)
	}
	return verdict{computed.Status.String(), computed.Message, argo}, nil
}

func healthOf(object *unstructured.Unstructured, script string) (health, error) {
	if object.GetDeletionTimestamp() != nil {
		return health{"Progressing", "Pending deletion"}, nil
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return health{}, err
		}
	}
	limited, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", luajson.DecodeValue(state, floats(object.Object)))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	text, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return health{}, err
	}
	var said health
	if err := json.Unmarshal(text, &said); err != nil {
		return health{}, err
	}
	if !slices.Contains(healthStates, said.Status) {
		return health{}, fmt.Errorf("%q is no health state", said.Status)
	}
	return said, nil
}

// floats turns every whole number into the one type of number that Lua has.
func floats(value any) any {
	switch typed := value.(type) {
	case map[string]any:
		turned := make(map[string]any, len(typed))
		for key, one := range typed {
			turned[key] = floats(one)
		}
		return turned
	case []any:
		turned := make([]any, len(typed))
		for index, one := range typed {
			turned[index] = floats(one)
		}
		return turned
	case int64:
		return float64(typed)
	}
	return value
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "judge:", err)
	os.Exit(1)
}
