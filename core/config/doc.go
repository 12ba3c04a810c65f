// Package config reads pipelines and process settings, and says all that is wrong with them at once, with the place in the file.
//
// A pipeline is read in three steps: the YAML text becomes nodes with positions ([Pipeline], [Node]), interpolation fills
// scalars, and each node's options are decoded into its plugin's configuration struct. What needs more than one node (names,
// schemas, expressions) is checked by package plan, which reports through the same [Diagnostic].
package config
