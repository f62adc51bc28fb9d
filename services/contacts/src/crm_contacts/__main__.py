"""`python -m crm_contacts api|worker|all`."""

from crm_contacts.main import compose

if __name__ == "__main__":
    compose().main()
