"""The web page of `var app`: one file per tab; nothing here is imported before the command runs. It needs gradio."""
