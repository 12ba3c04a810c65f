// Package flow holds the one table of flow columns ([Columns]). Decoders, readers and writers of flow files, the schemas of
// databases, the environment of expressions and the reference documentation are generated from it or driven by it; no second
// list of columns exists anywhere.
package flow
