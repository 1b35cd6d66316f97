"""CT volumes of procedural subjects: ``ccta`` shows heart and coronaries, ``abdomen`` the organs that bear tumours."""
