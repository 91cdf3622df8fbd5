"""A paper's tables, figures and appendix, made of records: `dec2vec report RUNS --paper OUT`."""
