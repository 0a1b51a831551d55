#!/bin/sh
# Makes the hospital: users, data sources and a project, without any policy. Nobody but owners reads anything yet.
# Run in this folder, with `weir` on the PATH; WEIR_DATA_DIR says where the data directory is.
set -eu

weir user add dora --group clinicians --attribute training=Privacy.Data
weir user add carl --group clinicians --group cardiology --attribute training=Privacy.Basic
weir user add olga --group clinicians --group oncology --attribute training=Privacy.Basic
weir user add ned --group clinicians --group surgery
weir user add boris --group billing --attribute training=Privacy.Basic
weir user add bea --group billing --attribute training=Privacy.Basic --permission unmask
weir user add rosa --group research --attribute training=Privacy.Data
weir user add stan --group students --attribute training=Privacy.Basic
weir user add gwen --permission governance

weir source add clinic.patients data/patients.csv --owner dora --row-key patient_id --tag Domain.Health \
  --column-tag name=PII.Name --column-tag ssn=PII.ID.SSN --column-tag phone=PII.Contact.Phone \
  --column-tag zip=Geo.Zip --column-tag city=Geo.City --column-tag born=PII.Born
weir source add clinic.visits data/visits.csv --owner dora --row-key visit_id --event-time seen --tag Domain.Health \
  --column-tag department=Org.Department --column-tag diagnosis=Health.Diagnosis --column-tag cost=Money
weir source add billing.invoices data/invoices.csv --owner boris --row-key number --event-time issued \
  --tag Domain.Money --column-tag name=PII.Name --column-tag amount=Money
weir source add research.cohort data/cohort.csv --owner rosa --row-key row --tag Domain.Research \
  --column-tag diagnosis=Health.Diagnosis

weir purpose create Research.Heart --statement "Only for the heart study, and never to find out who a patient is."
weir project create heart-study
weir project member add heart-study rosa
weir project member add heart-study carl
weir project source add heart-study research.cohort
weir project source add heart-study clinic.visits
weir project purpose add heart-study Research.Heart
weir project purpose approve heart-study Research.Heart
weir project acknowledge heart-study --user rosa
weir project acknowledge heart-study --user carl
