"""`python -m crm_gateway api|worker|all`."""

from crm_gateway.main import compose

if __name__ == "__main__":
    compose().main()
