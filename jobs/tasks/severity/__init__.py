"""How severe the disease is that a run, an artery or a patient shows (CORE320's classification), and where."""
