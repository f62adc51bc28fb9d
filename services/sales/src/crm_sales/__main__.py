"""`python -m crm_sales api|worker|all`."""

from crm_sales.main import compose

if __name__ == "__main__":
    compose().main()
