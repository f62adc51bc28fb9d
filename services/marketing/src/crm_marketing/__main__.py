"""`python -m crm_marketing api|worker|all`."""

from crm_marketing.main import compose

if __name__ == "__main__":
    compose().main()
