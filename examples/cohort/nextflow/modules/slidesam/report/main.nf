process SLIDESAM_REPORT {
    label 'process_single'

    input:
    path sheet
    path folders, stageAs: 'slides/*'
    path model

    output:
    path "cohort.csv"    , emit: csv
    path "cohort.parquet", emit: parquet
    path "index.html"    , emit: html
    path "cohort.json"   , emit: settings
    path "times.csv"     , emit: times
    path "versions.yml"  , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args  = task.ext.args ?: ''
    def given = model ? "-model ${model}" : ''
    """
    slidesam cohort -sheet ${sheet} -out . -merge ${given} ${args} || [ \$? -eq 4 ] # some slides failed: the table says it

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        slidesam: \$(slidesam --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    """
    touch cohort.csv cohort.parquet index.html cohort.json times.csv

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        slidesam: \$(slidesam --version | sed 's/.* //')
    END_VERSIONS
    """
}
