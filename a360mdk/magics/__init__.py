"""The magics of the kit: ``%a360`` and ``%%a360_run``, with tab completion."""
