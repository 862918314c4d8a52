"""The language server: `dsl.editor` over the Language Server Protocol."""
