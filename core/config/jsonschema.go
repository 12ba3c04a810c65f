package config

import (
	"encoding/json"
	"reflect"

	"github.com/weirflow/weir/sdk"
)

// JSONSchema is the JSON schema (draft 7, which editors' YAML servers speak) of a pipeline file with the plugins of the registry.
// It is as strict as Parse about keys, and knows that a value may be a ${...}.
func JSONSchema(r *Registry) ([]byte, error) {
	defs := object{}
	props := schemaOf(fieldsOf(reflect.TypeFor[fileKeys]()), reflect.Value{}, 0)
	props["params"] = object{"type": "object", "description": "parameters with their defaults", "additionalProperties": object{"type": []string{"string", "number", "boolean", "null"}}}
	for _, s := range sections {
		ref := object{"$ref": "#/definitions/" + string(s.kind)}
		section := props[s.name].(object)
		if s.kind == sdk.KindProcessor {
			section["type"], section["items"] = []string{"array", "null"}, ref
		} else {
			section["type"], section["additionalProperties"] = []string{"object", "null"}, ref
			section["propertyNames"] = object{"pattern": idForm.String()}
		}
		defs[string(s.kind)] = nodeSchema(r, s, defs)
	}
	return json.MarshalIndent(object{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"title":                "a Weir pipeline",
		"type":                 "object",
		"properties":           props,
		"patternProperties":    object{"^" + extension: object{"description": "the user's own, for anchors: nothing is made of it"}},
		"additionalProperties": false,
		"definitions":          defs,
	}, "", "  ")
}

type object = map[string]any

// nodeSchema: the type chooses, by if and then, what stands under `with`.
func nodeSchema(r *Registry, s section, defs object) object {
	fs := fieldsOf(s.keys)
	props := schemaOf(fs, reflect.Value{}, 0)
	props["type"] = object{"description": "the plugin", "anyOf": []any{object{"enum": r.Types(s.kind)}, interpolated}}
	if from, ok := props["from"].(object); ok {
		from["anyOf"] = []any{object{"type": "string"}, object{"type": "array", "items": object{"type": "string"}}}
	}
	if id, ok := props["id"].(object); ok {
		id["pattern"] = idForm.String()
	}
	props["with"].(object)["type"] = []string{"object", "null"}
	var choices []any
	for _, name := range r.Types(s.kind) {
		spec := &r.Lookup(s.kind, name).Spec
		def := string(s.kind) + "." + name
		defs[def] = optionsSchema(spec)
		then := object{"properties": object{"with": object{"$ref": "#/definitions/" + def}}}
		if _, must := defs[def].(object)["required"]; must {
			then["required"] = []string{"with"}
		}
		choices = append(choices, object{
			"if":   object{"properties": object{"type": object{"const": name}}, "required": []string{"type"}},
			"then": then,
		})
	}
	node := object{"type": "object", "properties": props, "additionalProperties": false, "required": required(fs)}
	if len(choices) > 0 {
		node["allOf"] = choices
	}
	return node
}

func optionsSchema(spec *sdk.Spec) object {
	out := object{"type": []string{"object", "null"}, "additionalProperties": false, "description": spec.Doc}
	if spec.Config == nil {
		return out
	}
	v := reflect.ValueOf(spec.Config()).Elem()
	fs := fieldsOf(v.Type())
	out["properties"] = schemaOf(fs, v, 0)
	if must := required(fs); len(must) > 0 {
		out["required"], out["type"] = must, "object"
	}
	return out
}

func required(fs []field) []string {
	var must []string
	for _, f := range fs {
		if f.required {
			must = append(must, f.name)
		}
	}
	return must
}

// interpolated is a value that comes from elsewhere: its type shows later.
var interpolated = object{"type": "string", "pattern": `\$\{`}

// schemaOf is the properties of a struct. defaults may be invalid: none are given then.
func schemaOf(fs []field, defaults reflect.Value, depth int) object {
	props := object{}
	for _, f := range fs {
		var def reflect.Value
		if defaults.IsValid() {
			def = defaults.FieldByIndex(f.index)
		}
		one := typeSchema(f.typ, f.enum, def, depth)
		if f.doc != "" {
			one["description"] = f.doc
		}
		if f.example != "" {
			one["examples"] = []string{f.example}
		}
		if def.IsValid() {
			if sub, _ := structOf(f.typ); sub == nil {
				if d := plainValue(def); d != nil {
					one["default"] = d
				}
			}
		}
		props[f.name] = one
	}
	return props
}

func typeSchema(t reflect.Type, enum []string, def reflect.Value, depth int) object {
	switch {
	case t == rawType || depth > maxNested || t.Kind() == reflect.Interface:
		return object{}
	case t.Kind() == reflect.Pointer:
		return typeSchema(t.Elem(), enum, reflect.Value{}, depth)
	case t == sizeType:
		return object{"type": []string{"string", "integer"}}
	case readsText(t) && hasForm(t): // text, or a map
		form := structure(t, enum, def, depth)
		return object{"anyOf": []any{object{"type": []string{"string", "number", "boolean"}}, form}}
	case readsText(t) || t == durationType || t == exprType || t.Kind() == reflect.String:
		if len(enum) > 0 {
			return object{"anyOf": []any{object{"enum": enum}, interpolated}}
		}
		return object{"type": []string{"string", "number", "boolean"}}
	}
	switch t.Kind() {
	case reflect.Slice:
		item := typeSchema(t.Elem(), enum, reflect.Value{}, depth+1)
		return object{"anyOf": []any{object{"type": []string{"array", "null"}, "items": item}, item}}
	case reflect.Map, reflect.Struct:
		return structure(t, enum, def, depth)
	case reflect.Bool:
		return object{"anyOf": []any{object{"type": "boolean"}, interpolated}}
	case reflect.Float32, reflect.Float64:
		return object{"anyOf": []any{object{"type": "number"}, interpolated}}
	}
	return object{"anyOf": []any{object{"type": "integer"}, interpolated}}
}

// hasForm says whether values of a type that reads itself from text may also be written as a map of its fields or values.
func hasForm(t reflect.Type) bool {
	return t.Kind() == reflect.Map || t.Kind() == reflect.Struct && len(fieldsOf(t)) > 0
}

// structure is the schema of a map's or a struct's mapping.
func structure(t reflect.Type, enum []string, def reflect.Value, depth int) object {
	if t.Kind() == reflect.Map {
		return object{"type": []string{"object", "null"}, "additionalProperties": typeSchema(t.Elem(), enum, reflect.Value{}, depth+1)}
	}
	fs := fieldsOf(t)
	out := object{"type": []string{"object", "null"}, "properties": schemaOf(fs, def, depth+1), "additionalProperties": false}
	if must := required(fs); len(must) > 0 {
		out["required"] = must
	}
	return out
}
