// All slides to one table and one page of pictures.
process TISSUUMAPS_SIC_TABLE {
    label 'process_medium'
    container params.container

    input:
    path h5ads
    path sessions

    output:
    path "table.csv"   , emit: table
    path "sheet.html"  , emit: sheet
    path "versions.yml", emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    tissuumaps-sic table . -o table.csv --sheet sheet.html --workers ${task.cpus} ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        tissuumaps-sic: \$(tissuumaps-sic --version | sed 's/.* //')
    END_VERSIONS
    """
}
