// A cohort of slides: a task for each slide, then one table and one report.
//
//   nextflow run examples/cohort/nextflow --sheet cohort.csv --outdir results --args '-mpp 0.5'

include { SLIDESAM_SLIDE  } from './modules/slidesam/slide/main'
include { SLIDESAM_REPORT } from './modules/slidesam/report/main'

workflow {
    if (!params.sheet) {
        error "give --sheet, a CSV file with columns slide and id, and mpp and others if wanted"
    }
    // The report's sheet is the sheet's own lines, the columns too that only the table has.
    sheet  = file(params.sheet, checkIfExists: true)
    model  = params.model ? file(params.model, checkIfExists: true) : []
    slides = Channel.fromPath(params.sheet)
        .splitCsv(header: true, strip: true)
        .map { row ->
            if (!row.slide || !row.id) {
                error "${params.sheet}: a line without slide or id: ${row}"
            }
            // They stand in a script within quotes.
            if (!(row.id ==~ /[\p{L}\p{N}._ +=,@()-]+/) || !(file(row.slide).name ==~ /[\p{L}\p{N}._ +=,@()-]+/)) {
                error "${params.sheet}: ${row.id}, ${row.slide}: want names of letters, digits, spaces and ._+=,@()-"
            }
            def at = row.slide.contains('://') || row.slide.startsWith('/') ? row.slide : sheet.parent.resolve(row.slide)
            [[id: row.id, mpp: row.mpp], file(at, checkIfExists: true)]
        }
    SLIDESAM_SLIDE(slides, model)
    SLIDESAM_REPORT(sheet, SLIDESAM_SLIDE.out.folder.map { it[1] }.toSortedList { a, b -> a.name <=> b.name }, model)
    SLIDESAM_SLIDE.out.versions
        .mix(SLIDESAM_REPORT.out.versions)
        .unique { it.text }
        .collectFile(name: 'versions.yml', storeDir: "${params.outdir}/pipeline_info", sort: { it.text })
}
