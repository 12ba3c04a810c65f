// Package config reads pipelines and process settings, and says all that is wrong with them at once, with the place in the file.
//
// A pipeline is read in three steps: the YAML text becomes nodes with positions ([Pipeline], [Node]), interpolation fills
// scalars, and each node's options are decoded into its plugin's configuration struct. What needs more than one node (names,
// schemas, expressions) is checked by package plan, which reports through the same [Diagnostic].
//
// # Reading a pipeline
//
//	registry := config.NewRegistry(plugins...)               // the table of built-in plugins
//	p, diags := config.Load(file, config.Options{Plugins: registry, Params: params, Set: set})
//	if p != nil {
//		// more is looked for also if diags has Failed: the pipeline is as complete as its faults allow
//		plan, more := plan.Resolve(p)
//		diags.Merge(more)
//		diags.Sort()
//	}
//	config.Render(os.Stderr, diags, config.FormatText)
//	if diags.Failed() {
//		os.Exit(78)
//	}
//
// Who checks what: this package each key, value and option, ids (their form, and that no two nodes have one), and that `from` is
// written well; package plan all else about `from`, sources and sinks that are missing, the graph, schemas, columns and expressions.
//
// # Places
//
// [Node.Pos] is the place of an option. [Node.Place] is the place of a byte in an option's text, through quotes, escapes, folded lines
// and interpolation; [Node.Diagnose] turns what a plugin's function returned ([sdk.Problems], or any error) into diagnostics with places,
// codes and the full path.
//
// # Interpolation
//
// `${env:NAME}`, `${file:PATH}` and `${param:NAME}`, each with an optional default after `:-`, are replaced in scalars only, after parsing,
// so that no value can change the structure of a file. The result takes the type that is wanted. `$${` stands for `${`. Line ends at
// the end of a file are cut off. What was put in never stands in a message: there it is `${env:NAME}` again ([Pipeline.Redact] does the same
// for messages that come later).
//
// # YAML
//
// The language is YAML 1.2 as goccy/go-yaml reads it, one document a file. Anchors, aliases and merge keys work, counted as if written
// out; tags other than the standard ones do not. A number may have underscores (100_000). One value may stand for a list of one. What a
// hostile file can cost is bounded by MaxFileBytes, MaxDepth, MaxValues, MaxKeys and MaxDiagnostics.
//
// # Codes
//
// Every diagnostic has a code with a story, a wrong example and its mend in [Codes]; [Explain] prints it. Codes of package plan are in
// the same table.
//
// # Settings
//
// [LoadSettings] layers defaults, the file of --config, the environment (WEIR_LOG_LEVEL) and flags ([AddFlags]), and tells faults in the same
// way.
//
// # Documentation from specifications
//
// [Describe] and [JSONSchema] are pure functions of plugins' specifications: for `inspect plugins`, the reference, and editors.
package config
