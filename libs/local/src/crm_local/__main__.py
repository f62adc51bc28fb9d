from crm_local.cli import app

app(prog_name="crm")
