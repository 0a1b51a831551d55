#!/bin/sh
# Makes the bank: users, data sources and a project, without any policy. Nobody but owners reads anything yet.
# Run in this folder, with `weir` on the PATH; WEIR_DATA_DIR says where the data directory is. Once the policies are
# applied, the owner of the transactions chooses one of them:
#   weir policy choose vendor-sample core.transactions
set -eu

weir user add olaf
weir user add tess
weir user add dieter --group advisers --attribute region=EU.DE
weir user add fleur --group advisers --attribute region=EU.FR
weir user add eva --group advisers --group managers --attribute region=EU.DE --attribute region=EU.FR
weir user add ann --group analysts
weir user add frank --group fraud --permission unmask
weir user add vera --group vendors
weir user add gina --permission governance --permission audit

weir source add core.customers data/customers.csv --owner olaf --row-key customer --tag Bank.Core \
  --column-tag name=PII.Name --column-tag email=PII.Contact.Mail --column-tag region=Geo.Region \
  --column-tag income=Sensitive.Income --column-tag born=PII.Born
weir source add core.accounts data/accounts.csv --owner olaf --row-key iban --tag Bank.Core \
  --column-tag iban=PII.Account --column-tag region=Geo.Region --column-tag balance=Sensitive.Balance
weir source add core.transactions data/transactions.csv --owner tess --row-key id --event-time booked \
  --tag Bank.Movements --column-tag iban=PII.Account
weir source select core.transactions vera

weir purpose create Fraud.Investigation --statement "Only for the case, and only by those who work on it."
weir project create case-17
weir project member add case-17 frank
weir project member add case-17 ann
weir project source add case-17 core.transactions
weir project source add case-17 core.accounts
weir project purpose add case-17 Fraud.Investigation
weir project purpose approve case-17 Fraud.Investigation
weir project acknowledge case-17 --user frank
weir project acknowledge case-17 --user ann
weir project set case-17 --masked-joins on
